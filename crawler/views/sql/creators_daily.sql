-- A creator (user_id) on a night, over all sellers: videos, their counters, and what they gained.
--
-- is_whole: each seller that had videos of the creator both before and after was read whole that night, or carried.
--   Where it is false, sums lack videos: compare them over nights on which it is true.
-- videos, views, sales, gmv: null on a night whose rows were thinned out; videos is 0 where all of them are gone.
-- *_gain: of the videos that were received, each since its last observation.
WITH of_video AS (
    SELECT seller_id, video_id, any_value(user_id) AS user_id,
        min(crawl_date) AS first_date, max(crawl_date) AS last_date
    FROM videos
    GROUP BY seller_id, video_id
),
of_seller AS (
    SELECT user_id, seller_id, min(first_date) AS first_date, max(last_date) AS last_date
    FROM of_video GROUP BY user_id, seller_id
),
lacking AS (
    SELECT DISTINCT user_id, crawl_date
    FROM of_seller
    JOIN (SELECT seller_id, crawl_date FROM coverage WHERE NOT is_complete) USING (seller_id)
    WHERE crawl_date BETWEEN first_date AND last_date
),
parts AS (
    SELECT
        user_id,
        crawl_date,
        1 AS videos,
        total_views_cnt AS views,
        total_video_sale_cnt AS sales,
        total_video_sale_gmv_amt AS gmv,
        NULL::BIGINT AS views_gain,
        NULL::BIGINT AS sales_gain,
        NULL::DOUBLE AS gmv_gain,
        NULL::INTEGER AS published,
        NULL::INTEGER AS gone
    FROM videos
    UNION ALL
    SELECT
        user_id,
        crawl_date,
        NULL,
        NULL,
        NULL,
        NULL,
        total_views_cnt_gain,
        total_video_sale_cnt_gain,
        total_video_sale_gmv_amt_gain,
        CASE kind WHEN 'published' THEN 1 ELSE 0 END,
        CASE kind WHEN 'gone' THEN 1 ELSE 0 END
    FROM changes
    JOIN of_video USING (seller_id, video_id)
),
sums AS (
    SELECT
        user_id,
        crawl_date,
        sum(videos)::BIGINT AS videos,
        sum(views)::BIGINT AS views,
        sum(sales)::BIGINT AS sales,
        sum(gmv) AS gmv,
        sum(views_gain)::BIGINT AS views_gain,
        sum(sales_gain)::BIGINT AS sales_gain,
        sum(gmv_gain) AS gmv_gain,
        sum(published)::BIGINT AS published,
        sum(gone)::BIGINT AS gone
    FROM parts
    GROUP BY user_id, crawl_date
)
SELECT
    crawl_date,
    user_id,
    CASE WHEN k.crawl_date IS NOT NULL THEN coalesce(videos, 0) END AS videos,
    views,
    sales,
    gmv,
    l.user_id IS NULL AND k.crawl_date IS NOT NULL AS is_whole,
    views_gain,
    sales_gain,
    gmv_gain,
    published,
    gone
FROM sums
LEFT JOIN lacking l USING (user_id, crawl_date)
LEFT JOIN (SELECT DISTINCT crawl_date FROM videos) k USING (crawl_date)
