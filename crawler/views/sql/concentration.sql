-- A seller, as last read whole: how much of its views and GMV come from few videos.
--
-- top_1_*, top_10_*: the share of its 1 and 10 largest videos. videos_for_80_*: the fewest videos with 80 % of it.
-- hhi_*: the sum of the squared shares: 1 where one video has all, 1 / videos where all have the same.
-- Shares are null where the sum is 0.
WITH listed AS (
    SELECT seller_id, crawl_date, video_id, total_views_cnt AS views, total_video_sale_gmv_amt AS gmv FROM latest
),
shares AS (
    SELECT
        listed.*,
        row_number() OVER (PARTITION BY seller_id ORDER BY views DESC NULLS LAST, video_id) AS views_place,
        row_number() OVER (PARTITION BY seller_id ORDER BY gmv DESC NULLS LAST, video_id) AS gmv_place,
        views / all_views AS views_share,
        gmv / all_gmv AS gmv_share
    FROM listed
    JOIN (
        SELECT seller_id, nullif(sum(views), 0) AS all_views, nullif(sum(gmv), 0) AS all_gmv
        FROM listed GROUP BY seller_id
    ) USING (seller_id)
),
added AS (
    SELECT
        *,
        sum(views_share) OVER (PARTITION BY seller_id ORDER BY views_place) - views_share AS views_before,
        sum(gmv_share) OVER (PARTITION BY seller_id ORDER BY gmv_place) - gmv_share AS gmv_before
    FROM shares
)
SELECT
    seller_id,
    any_value(crawl_date) AS crawl_date,
    count(*) AS videos,
    sum(views)::BIGINT AS views,
    sum(gmv) AS gmv,
    sum(views_share) FILTER (views_place <= 1) AS top_1_views,
    sum(views_share) FILTER (views_place <= 10) AS top_10_views,
    sum(gmv_share) FILTER (gmv_place <= 1) AS top_1_gmv,
    sum(gmv_share) FILTER (gmv_place <= 10) AS top_10_gmv,
    count(*) FILTER (views_before < 0.8) AS videos_for_80_views,
    count(*) FILTER (gmv_before < 0.8) AS videos_for_80_gmv,
    sum(views_share * views_share) AS hhi_views,
    sum(gmv_share * gmv_share) AS hhi_gmv
FROM added
GROUP BY seller_id
