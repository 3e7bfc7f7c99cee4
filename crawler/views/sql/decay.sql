-- An age of videos, in whole days since their creation: what they gain a day by then, over all nights.
--
-- Only nights count in which a seller was read whole, and was whole when it was read before, so that a video's
-- gain is of the days between. videos: readings of a video of that age, those that gained nothing too;
-- video_days: the days in them; moved: in how many a counter changed.
WITH whole AS (
    SELECT seller_id, crawl_date, days
    FROM coverage
    SEMI JOIN (SELECT DISTINCT crawl_date FROM videos) USING (crawl_date)
    WHERE follows_on AND has_changes
),
seen AS (
    SELECT
        (epoch_ms(crawled_at) - epoch_ms(create_time)) // 86400000 AS age_days,
        count(*) AS videos,
        sum(days) AS video_days
    FROM videos
    JOIN whole USING (seller_id, crawl_date)
    GROUP BY age_days
),
moved AS (
    SELECT
        (epoch_ms(c.until) - epoch_ms(c.create_time)) // 86400000 AS age_days,
        c.kind IN ('published', 'discovered', 'returned') AS is_new,
        count(*) AS videos,
        sum(w.days) AS video_days,
        sum(total_views_cnt_gain)::BIGINT AS views,
        sum(total_video_sale_cnt_gain)::BIGINT AS sales,
        sum(total_video_sale_gmv_amt_gain) AS gmv
    FROM changes c
    JOIN whole w USING (seller_id, crawl_date)
    WHERE c.kind <> 'gone'
    GROUP BY age_days, is_new
)
SELECT
    s.age_days,
    s.videos - coalesce(n.videos, 0) AS videos,
    s.video_days - coalesce(n.video_days, 0) AS video_days,
    coalesce(m.videos, 0) AS moved,
    coalesce(m.views, 0) AS views_gain,
    coalesce(m.sales, 0) AS sales_gain,
    coalesce(m.gmv, 0) AS gmv_gain,
    views_gain / nullif(s.video_days - coalesce(n.video_days, 0), 0) AS views_per_day,
    sales_gain / nullif(s.video_days - coalesce(n.video_days, 0), 0) AS sales_per_day,
    gmv_gain / nullif(s.video_days - coalesce(n.video_days, 0), 0) AS gmv_per_day,
    moved / (s.videos - coalesce(n.videos, 0)) AS share_moved
FROM seen s
LEFT JOIN (FROM moved WHERE is_new) n USING (age_days)
LEFT JOIN (FROM moved WHERE NOT is_new) m USING (age_days)
WHERE s.age_days >= 0 AND s.videos > coalesce(n.videos, 0)
