-- A video that gained far more views a day, in the newest night, than videos of the same age.
--
-- age_days: from its creation to its last observation. Peers: all videos seen in that night whose age lies between
--   the same two powers of two (0, 1, 2 to 3, 4 to 7 days, …), those that gained nothing too; at least 20.
-- times_median: its views a day by the median of its peers, or by 1 where that is less.
-- share_below: of the peers, how many gain less. A breakout is above 99 of 100, and at 5 medians or more.
WITH aged AS (
    SELECT
        *,
        (epoch_ms(until) - epoch_ms(create_time)) / 86400000.0 AS age_days,
        CASE WHEN age_days < 1 THEN 0 ELSE 1 << floor(log2(age_days))::INTEGER END AS age_from
    FROM gains_1d
    WHERE views_per_day IS NOT NULL AND create_time <= until
),
ranked AS (
    SELECT
        *,
        count(*) OVER peers AS peers,
        median(views_per_day) OVER peers AS peers_median,
        (rank() OVER (PARTITION BY age_from ORDER BY views_per_day) - 1) / peers AS share_below
    FROM aged
    WINDOW peers AS (PARTITION BY age_from)
)
SELECT *, views_per_day / greatest(peers_median, 1) AS times_median
FROM ranked
WHERE peers >= 20 AND share_below >= 0.99 AND times_median >= 5
