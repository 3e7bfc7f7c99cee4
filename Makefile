.DEFAULT_GOAL := help
PYTHON ?= python3
BIN := .venv/bin
SEEDS ?= 2000
KILLS ?= 200
CLUSTER_KILLS ?= 100
TRIALS ?= 200
MONTHS ?= 200
FUZZ ?= 120
FIRST ?= 0
OUTAGES ?= 100
HEALTHY ?= 100
PODMAN ?= podman

# The tests start the program hundreds of times: it is compiled once.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help setup demo demo-cluster examples datacontract docs run test test-long coverage test-oldest test-newest check tables simulate-cluster simulate-months simulate-nights simulate-outages fuzz crash crash-cluster damage cron two-weeks container readers bench bench-changes bench-credits bench-growth bench-makespan bench-memory bench-peers bench-scale bench-views clean

help: ## print these lines
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 18

.venv/.ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

setup: .venv/.ready ## make .venv with everything pinned

demo: setup ## run the main job on the embedded stand-in, and show its table
	$(BIN)/crawler demo

.venv/.contract-ready:
	$(PYTHON) -m venv .venv/contract
	.venv/contract/bin/python -m pip install --quiet 'datacontract-cli==1.2.8'
	touch $@

datacontract: .venv/.contract-ready ## lint docs/datacontract.yaml
	.venv/contract/bin/datacontract lint docs/datacontract.yaml

.venv/.docs-ready: .venv/.ready
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[docs]'
	touch $@

docs: .venv/.docs-ready ## make a site of the docs in site/; a broken link or anchor is an error
	rm -rf site
	$(BIN)/sphinx-build --quiet --fail-on-warning --keep-going --doctree-dir .venv/doctrees docs site

run: setup ## run the nightly job on data/sellers.csv (needs KEYAPI_API_KEY)
	$(BIN)/crawler run data/sellers.csv

test: setup check ## run every gate, and the tests but the long ones
	$(BIN)/pytest -n 4 --dist worksteal -q

test-long: setup ## run the tests that `make test` leaves out: further cases, and a short crash campaign
	EXAMPLES=100 $(BIN)/pytest -n 4 --dist worksteal -q -m long

# Not with the tests of what a start imports, a file size limit stops, or CPU is measured of: coverage itself
# imports, writes and takes CPU.
coverage: setup ## run the tests with branch coverage, and hold its floors
	rm -f .coverage .coverage.*
	$(BIN)/pytest -n 4 --dist worksteal -q -m 'long or not long' --cov --cov-report= --ignore tests/commands/test_startup.py \
		--deselect tests/nightly/test_resources.py::test_a_file_size_limit_is_an_eight \
		--deselect tests/api/test_answers.py::test_hostile_bodies_take_linear_time \
		--deselect tests/api/test_answers.py::test_the_largest_hostile_bodies_are_bounded_in_time_and_memory
	$(BIN)/coverage report --include='crawler/rules/*' --fail-under=100 --skip-covered
	$(BIN)/coverage report --include='crawler/engine/*' --fail-under=100 --skip-covered
	$(BIN)/coverage report --include='crawler/store/*' --fail-under=98 --skip-covered
	$(BIN)/coverage report --fail-under=91 --format=total

test-oldest: ## run the tests on the lowest versions that pyproject.toml allows (PYTHON=python3.12 for another Python)
	$(PYTHON) -m venv --clear .venv-oldest
	$(PYTHON) tests/oldest.py > .venv-oldest/constraints.txt
	.venv-oldest/bin/python -m pip install --quiet --constraint .venv-oldest/constraints.txt --editable '.[dev]'
	.venv-oldest/bin/pytest -n 4 --dist worksteal -q

test-newest: ## run the tests on the newest versions that there are
	$(PYTHON) -m venv --clear .venv-newest
	.venv-newest/bin/python -m pip install --quiet --upgrade --editable '.[dev]'
	.venv-newest/bin/pytest -n 4 --dist worksteal -q

check: setup ## lint, types, import contracts, the container files, each path once, limits of files and classes
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/hadolint config/container/Containerfile
	$(BIN)/check-jsonschema --quiet --builtin-schema vendor.compose-spec config/container/compose.yaml
	$(BIN)/pytest -q tests/store/test_layout.py tests/test_structure.py tests/container

demo-cluster: setup ## run the main job on a Dask cluster of two hosts made of network namespaces (root; CUT=1: one is cut off)
	cd tests && ../$(BIN)/python -W ignore cluster_hosts.py $(if $(CUT),--cut)

examples: setup ## run the notebook of examples/ on the demo's nights: installs marimo, 24 packages and 220 MB
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[examples]'
	$(BIN)/pytest -q -rs -m long tests/views/test_notebook.py

tables: setup ## write what the program's tables say into the docs and config/crawler.toml
	$(BIN)/python tests/tables.py

simulate-cluster: setup ## play SEEDS simulated crawls by workers on a virtual clock (FIRST, REPLAY=seed)
	cd tests && PYTHONHASHSEED=0 ../$(BIN)/python -W ignore cluster_nights.py $(if $(REPLAY),--replay $(REPLAY),--seeds $(SEEDS) --first $(FIRST))

simulate-months: setup ## play MONTHS simulated months of --strategy freshest on a virtual clock (FIRST, REPLAY=seed)
	cd tests && PYTHONHASHSEED=0 ../$(BIN)/python -W ignore months.py $(if $(REPLAY),--replay $(REPLAY),--months $(MONTHS) --first $(FIRST))

simulate-nights: setup ## play SEEDS simulated nights on a virtual clock (FIRST, REPLAY=seed)
	cd tests && PYTHONHASHSEED=0 ../$(BIN)/python -W ignore nights.py $(if $(REPLAY),--replay $(REPLAY),--seeds $(SEEDS) --first $(FIRST))

simulate-outages: setup ## play OUTAGES outages between good nights, and HEALTHY projects of 20 healthy nights
	cd tests && PYTHONHASHSEED=0 ../$(BIN)/python -W ignore outage_nights.py --outages $(OUTAGES) --healthy $(HEALTHY) --first $(FIRST)

bench-credits: setup ## captured value by strategy (docs/credits.svg), planned nights, carry-forward, a quarter under a budget (docs/freshest.svg)
	$(BIN)/python bench/credits.py docs/credits.svg
	$(BIN)/python bench/quarter.py docs/freshest.svg

fuzz: setup ## fuzz the reading of answers for FUZZ seconds
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[fuzz]'
	$(BIN)/python tests/fuzz_answers.py $(FUZZ)

crash: setup ## kill the real process KILLS times, and compare
	cd tests && ../$(BIN)/python -W ignore crash.py --kills $(KILLS)

crash-cluster: setup ## kill and stop workers, scheduler and driver of a real Dask cluster CLUSTER_KILLS times, and compare
	cd tests && ../$(BIN)/python -W ignore crash_cluster.py --kills $(CLUSTER_KILLS)

damage: setup ## damage state of runs that were cut off TRIALS times, and go on
	cd tests && ../$(BIN)/python -W ignore damage.py --trials $(TRIALS)

cron: setup ## let real cron start a night: takes two minutes, needs root and cron
	$(BIN)/pytest -q -rs tests/cron_night.py

container: setup ## build the image and run nights in it: takes three minutes, needs root, podman and debootstrap (PODMAN)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[container]'
	PODMAN="$(PODMAN)" $(BIN)/pytest -q -rs -s tests/container_night.py

two-weeks: setup ## play two weeks of nights that nobody watches, and check what is told: ten minutes, root, cron, faketime
	cd tests && ../$(BIN)/python two_weeks.py

bench: setup ## measure the crawler beside the shortest honest script, the stand-in, the journal and the pace
	$(BIN)/python bench/throughput.py bench/results
	$(BIN)/python bench/whole_nights.py bench/results
	$(BIN)/python bench/phases.py bench/results
	$(BIN)/python bench/simulator_rate.py bench/results
	$(BIN)/python bench/journal.py bench/results
	$(BIN)/python bench/pace.py bench/results
	$(BIN)/python bench/session.py bench/results
	$(BIN)/python bench/split.py bench/results
	$(BIN)/python bench/ceiling.py bench/results

readers: setup ## ask every tool that reads Parquet what it finds, and write docs/readers.md: takes five minutes, and installs them
	$(BIN)/python bench/readers.py

bench-changes: setup ## what comparing and judging a snapshot costs: ROWS rows a date, 10,000,000 by default, 5 GB of disk (ROUNDS)
	$(BIN)/python bench/changes.py bench/results

bench-growth: setup ## what a night gained, by usual queries and by the views, after odd nights: takes a minute
	$(BIN)/python -W ignore bench/growth.py bench/results

bench-views: setup ## how long each view takes on a year of 300 sellers; crawls it first, in half an hour and 500 MB
	$(BIN)/python bench/views.py bench/results

bench-makespan: setup ## how long a night takes next to what the ceiling allows, by look-ahead
	$(BIN)/python bench/makespan.py

bench-memory: setup ## peak memory of the crawler by scenario: takes ten minutes and 5 GB of disk
	$(BIN)/python bench/memory.py

bench-peers: setup ## beside dlt and Scrapy: time, CPU, and what each pays again after a kill -9
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[peers]'
	$(BIN)/python bench/peers.py bench/results

bench-scale: setup ## one process beside 1 and 2 workers, and what a driver answers a second (ROUNDS)
	$(BIN)/python bench/scale.py bench/results

clean: ## remove what was made here, but no data
	rm -rf .coverage .coverage.* site .venv .venv-oldest .venv-newest .bench build dist .mypy_cache .ruff_cache .hypothesis .import_linter_cache
