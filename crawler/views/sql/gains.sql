-- A video that was observed in the {nights}: what it gained there.
--
-- The nights that count began less than {reach} days before the newest one.
-- until: its last observation there. since: where its gains are counted from: the observation before those nights,
--   however far back; of a video published there its creation, all its counters being gained; of one discovered
--   there its first observation, as what was before is not known.
-- days: from since to until, a day being 24 hours. *_per_day: null where that is less than six hours.
-- kind: of its newest change there; null where no counter moved.
WITH readings AS MATERIALIZED (
    SELECT
        seller_id,
        crawl_date,
        last_crawled_at AS ended,
        coalesce(carried, 0) > 0 AND stretches IS NULL AS is_carried,
        min(epoch_ms(first_crawled_at)) OVER (PARTITION BY crawl_date) AS night_began,
        coalesce(carried, 0) > 0 OR stretches IS NOT NULL AS has_older_rows,
        count(changed) OVER (PARTITION BY crawl_date) > 0 AS has_changes
    FROM sellers
),
counted AS MATERIALIZED (
    SELECT * FROM readings
    WHERE ended IS NOT NULL AND night_began > (SELECT max(night_began) FROM readings) - {reach} * 86400000
),
nights AS MATERIALIZED (
    SELECT DISTINCT crawl_date FROM counted
),
compared AS (
    SELECT seller_id FROM counted GROUP BY seller_id HAVING bool_and(has_changes)
),
read_before AS (
    SELECT seller_id, max(ended) AS ended
    FROM readings
    ANTI JOIN nights USING (crawl_date)
    WHERE NOT is_carried
    GROUP BY seller_id
),
-- Not all rows of a reading that carried some are as old as it: each says when it was received.
carried_before AS (
    SELECT seller_id, video_id, crawled_at
    FROM videos
    JOIN (
        SELECT
            seller_id,
            max_by(crawl_date, night_began) AS crawl_date,
            max_by(has_older_rows, night_began) AS has_older
        FROM readings
        ANTI JOIN nights USING (crawl_date)
        GROUP BY seller_id
    ) USING (seller_id, crawl_date)
    WHERE has_older
),
seen AS (
    SELECT
        seller_id,
        video_id,
        max(crawled_at) AS until,
        max_by({
            'crawl_date': crawl_date, 'user_id': user_id, 'region': region, 'create_time': create_time,
            'total_views_cnt': total_views_cnt,
            'total_digg_cnt': total_digg_cnt,
            'total_comments_cnt': total_comments_cnt,
            'total_shares_cnt': total_shares_cnt,
            'total_video_sale_cnt': total_video_sale_cnt,
            'total_video_sale_gmv_amt': total_video_sale_gmv_amt
        }, crawled_at) AS newest
    FROM videos
    JOIN nights USING (crawl_date)
    WHERE carried_from IS NULL
    GROUP BY seller_id, video_id
),
moved AS (
    SELECT
        seller_id,
        video_id,
        min_by(kind, until) FILTER (kind <> 'gone') AS first_kind,
        min_by(since, until) FILTER (kind <> 'gone') AS first_since,
        min(until) FILTER (kind <> 'gone') AS first_until,
        max_by(kind, until) AS kind,
        sum(total_views_cnt_gain)::BIGINT AS total_views_cnt_gain,
        sum(total_digg_cnt_gain)::BIGINT AS total_digg_cnt_gain,
        sum(total_comments_cnt_gain)::BIGINT AS total_comments_cnt_gain,
        sum(total_shares_cnt_gain)::BIGINT AS total_shares_cnt_gain,
        sum(total_video_sale_cnt_gain)::BIGINT AS total_video_sale_cnt_gain,
        sum(total_video_sale_gmv_amt_gain) AS total_video_sale_gmv_amt_gain
    FROM changes
    JOIN nights USING (crawl_date)
    GROUP BY seller_id, video_id
),
gained AS (
    SELECT
        s.seller_id,
        s.video_id,
        unnest(s.newest),
        m.kind,
        CASE m.first_kind
            WHEN 'published' THEN s.newest.create_time
            WHEN 'discovered' THEN m.first_until
            ELSE least(m.first_since, coalesce(p.crawled_at, b.ended))
        END AS since,
        s.until,
        (epoch_ms(s.until) - epoch_ms(since)) / 86400000.0 AS days,
        CASE WHEN coalesce(m.first_kind, 'discovered') = 'discovered' AND c.seller_id IS NOT NULL THEN 0 END
            AS unmoved,
        coalesce(m.total_views_cnt_gain, unmoved) AS total_views_cnt_gain,
        coalesce(m.total_digg_cnt_gain, unmoved) AS total_digg_cnt_gain,
        coalesce(m.total_comments_cnt_gain, unmoved) AS total_comments_cnt_gain,
        coalesce(m.total_shares_cnt_gain, unmoved) AS total_shares_cnt_gain,
        coalesce(m.total_video_sale_cnt_gain, unmoved) AS total_video_sale_cnt_gain,
        coalesce(m.total_video_sale_gmv_amt_gain, unmoved) AS total_video_sale_gmv_amt_gain
    FROM seen s
    LEFT JOIN moved m USING (seller_id, video_id)
    LEFT JOIN carried_before p USING (seller_id, video_id)
    LEFT JOIN read_before b USING (seller_id)
    LEFT JOIN compared c USING (seller_id)
)
SELECT
    * EXCLUDE (unmoved),
    CASE WHEN days >= 0.25 THEN total_views_cnt_gain / days END AS views_per_day,
    CASE WHEN days >= 0.25 THEN total_video_sale_cnt_gain / days END AS sales_per_day,
    CASE WHEN days >= 0.25 THEN total_video_sale_gmv_amt_gain / days END AS gmv_per_day
FROM gained
