-- A seller on a night: its sums where they are of all its videos, and what it gained.
--
-- videos, views, sales, gmv: null where the seller was cut off or failed, so that a cut-off never reads as a
--   decline; of what was carried those that were last seen.
-- *_gain, published, discovered, changed: of the videos that were received, each since its last observation. gone:
--   those that are there no more, also where what is left of the seller was carried.
-- *_per_day: where all videos were compared with the reading before; null elsewhere.
SELECT
    s.crawl_date,
    s.seller_id,
    c.status,
    c.stop_reason,
    c.is_whole,
    c.is_carried,
    c.since_date,
    c.days,
    c.is_comparable,
    CASE WHEN is_complete THEN s.videos END AS videos,
    CASE WHEN is_complete THEN s.views END AS views,
    CASE WHEN is_complete THEN s.sales END AS sales,
    CASE WHEN is_complete THEN s.gmv END AS gmv,
    s.views_gain,
    s.sales_gain,
    s.gmv_gain,
    s.published,
    s.discovered,
    s.gone,
    s.changed,
    CASE WHEN follows_on AND c.days >= 0.25 THEN s.views_gain / c.days END AS views_per_day,
    CASE WHEN follows_on AND c.days >= 0.25 THEN s.sales_gain / c.days END AS sales_per_day,
    CASE WHEN follows_on AND c.days >= 0.25 THEN s.gmv_gain / c.days END AS gmv_per_day
FROM sellers s
JOIN coverage c USING (seller_id, crawl_date)
