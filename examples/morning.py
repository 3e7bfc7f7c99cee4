"""The morning after a night: three pictures from the published snapshots. A marimo notebook.

crawler demo --nights 8
crawler views data/demo/shop.duckdb --data data/demo
marimo edit examples/morning.py -- --views data/demo/shop.duckdb
"""

import marimo

app = marimo.App(width="medium", app_title="The morning after")


@app.cell
def _():
    import duckdb
    import marimo as mo
    import pygal

    views = duckdb.connect(mo.cli_args().get("views") or "data/demo/shop.duckdb", read_only=True)

    def ask(question):
        """The rows of a query."""
        return views.execute(question).fetchall()

    def show(chart):
        """A chart as part of the page."""
        return mo.Html(chart.render(is_unicode=True, disable_xml_declaration=True))

    return ask, mo, pygal, show


@app.cell
def _(ask, mo):
    (_read,) = ask("""
        SELECT
            max(crawl_date),
            count(*) FILTER (is_comparable),
            count(*),
            round(median(days), 1)
        FROM coverage
        WHERE crawl_date = (SELECT max(crawl_date) FROM coverage)
    """)
    mo.md(f"""
    # The morning of {_read[0]}

    {_read[1]} of {_read[2]} sellers were read whole, and can be compared with a reading {_read[3]} days
    earlier. What is said below of a day holds for these days, whatever was missed in between.
    """)


@app.cell
def _(ask, mo, pygal, show):
    movers = ask("""
        SELECT seller_id, video_id, views_per_day, sales_per_day
        FROM movers
        ORDER BY views_rank, video_id
        LIMIT 10
    """)
    _chart = pygal.HorizontalBar(
        title="Videos that gain most", x_title="views a day", show_legend=False, js=(), height=420
    )
    _chart.x_labels = [video for _, video, *_ in reversed(movers)]
    _chart.add("views a day", [round(gain) for *_, gain, _ in reversed(movers)])
    movers_chart = show(_chart)
    mo.vstack([mo.md("## What moved"), movers_chart])
    return movers, movers_chart


@app.cell
def _(ask, mo, pygal, show):
    decay = ask("""
        SELECT age_days // 5 * 5 AS age, 100 * sum(moved) / sum(videos), sum(views_gain) / sum(video_days)
        FROM decay
        WHERE age_days < 100
        GROUP BY age
        ORDER BY age
    """)
    _chart = pygal.Line(
        title="Videos that still gain, by their age",
        x_title="days since it was created",
        y_title="% that changed in a day",
        range=(0, 100),
        show_legend=False,
        js=(),
        height=420,
    )
    _chart.x_labels = [str(age) for age, *_ in decay]
    _chart.add("% that changed", [share for _, share, _ in decay])
    decay_chart = show(_chart)
    _young, _old = decay[0], decay[-1]
    mo.vstack(
        [
            mo.md(f"""
            ## How fast videos fade

            Of videos younger than five days {_young[1]:.0f} % change in a day, and gain {_young[2]:.1f} views
            on average. After {_old[0]} days it is {_old[1]:.0f} % and {_old[2]:.1f} views.
            """),
            decay_chart,
        ]
    )
    return decay, decay_chart


@app.cell
def _(ask, mo, pygal, show):
    sellers = ask("""
        SELECT seller_id, videos, gmv, 100 * top_1_gmv
        FROM concentration
        WHERE gmv > 0 AND videos >= 5
        ORDER BY gmv DESC
    """)
    _chart = pygal.XY(
        title="How much of a seller's GMV one video makes",
        x_title="GMV",
        y_title="% from its best video",
        stroke=False,
        show_legend=False,
        js=(),
        height=420,
    )
    _chart.add("sellers", [{"value": (gmv, share), "label": seller} for seller, _, gmv, share in sellers])
    sellers_chart = show(_chart)
    _one_hit = sum(share > 50 for *_, share in sellers)
    mo.vstack(
        [
            mo.md(f"""
            ## Who depends on one video

            {_one_hit} of {len(sellers)} sellers with five videos or more make over half of their GMV with
            one.
            """),
            sellers_chart,
        ]
    )
    return sellers, sellers_chart


if __name__ == "__main__":
    app.run()
