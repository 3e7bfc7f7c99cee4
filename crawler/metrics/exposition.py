"""Values as Prometheus's text format, and back. The only module that knows `prometheus_client`."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

from crawler.metrics.table import METRICS, Metric
from crawler.metrics.values import SUM, Values

_BY_NAME = {metric.name: metric for metric in METRICS}
_BUCKET, _SUM = "_bucket", "_sum"


def as_text(values: Values) -> bytes:
    """The text of the file."""
    registry = CollectorRegistry()
    registry.register(_Values(values))
    return generate_latest(registry)


def from_text(text: str) -> Values:
    """The values of a file that was written before; nothing of a file that is none."""
    found: dict[str, dict[str, float]] = {}
    try:
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                name = sample.name.removesuffix(_BUCKET).removesuffix(_SUM)
                metric = _BY_NAME.get(name)
                if metric is None:
                    continue
                is_sum = metric.kind == "histogram" and sample.name.endswith(_SUM)
                label = SUM if is_sum else sample.labels.get(metric.label or "le", "")
                found.setdefault(name, {})[label] = float(sample.value)
    except Exception:  # noqa: BLE001 - whatever else lies at the path costs the values of the run before
        return {}
    return found


class _Values(Collector):
    """Gives fixed values to a registry."""

    def __init__(self, values: Values) -> None:
        self._values = values

    def collect(self) -> Iterator[Family]:
        """The metrics that have values."""
        for metric in METRICS:
            samples = self._values.get(metric.name)
            if samples:
                yield _family(metric, dict(samples))


def _family(metric: Metric, samples: dict[str, float]) -> Family:
    if metric.kind == "histogram":
        total = samples.pop(SUM, 0.0)
        histogram = HistogramMetricFamily(metric.name, metric.help)
        histogram.add_metric([], list(samples.items()), total)
        return histogram
    kind = CounterMetricFamily if metric.kind == "counter" else GaugeMetricFamily
    family = kind(metric.name, metric.help, labels=[metric.label] if metric.label else [])
    for label, value in samples.items():
        family.add_metric([label] if metric.label else [], value)
    return family
