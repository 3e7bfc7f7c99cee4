-- A video on a night: its counters, and what they gained since it was last observed.
--
-- is_carried: the row was taken over from an earlier night; its counters are of then.
-- kind: of its change; null where it was received and no counter differs from its last observation, or where
--   nothing is known.
-- since, days: the observation before this one, however many nights ago; null where there is none, or no change.
-- <counter>_gain: 0 where nothing moved; all of it where the video was published since its seller was last read
--   whole; null where nothing is known: carried, seen for the first time, or a night without changes/. Added up
--   over all nights of a video it is its last counter less its first. A night that was thinned out has no rows: add
--   up changes there.
SELECT * EXCLUDE (unmoved)
FROM (
    SELECT
        v.crawl_date,
        v.seller_id,
        v.video_id,
        v.user_id,
        v.region,
        v.create_time,
        v.crawled_at,
        v.late,
        v.carried_from IS NOT NULL AS is_carried,
        c.kind,
        c.since,
        c.days,
        CASE WHEN c.kind IS NULL AND NOT is_carried AND n.crawl_date IS NOT NULL THEN 0 END AS unmoved,
        v.total_views_cnt,
        v.total_digg_cnt,
        v.total_comments_cnt,
        v.total_shares_cnt,
        v.total_video_sale_cnt,
        v.total_video_sale_gmv_amt,
        coalesce(c.total_views_cnt_gain, unmoved) AS total_views_cnt_gain,
        coalesce(c.total_digg_cnt_gain, unmoved) AS total_digg_cnt_gain,
        coalesce(c.total_comments_cnt_gain, unmoved) AS total_comments_cnt_gain,
        coalesce(c.total_shares_cnt_gain, unmoved) AS total_shares_cnt_gain,
        coalesce(c.total_video_sale_cnt_gain, unmoved) AS total_video_sale_cnt_gain,
        coalesce(c.total_video_sale_gmv_amt_gain, unmoved) AS total_video_sale_gmv_amt_gain
    FROM videos v
    LEFT JOIN changes c USING (video_id, seller_id, crawl_date)
    LEFT JOIN (SELECT crawl_date FROM sellers GROUP BY crawl_date HAVING count(changed) > 0) n USING (crawl_date)
)
