-- A video on a night when a counter was lower than at its last observation: what was taken back.
--
-- The counters are those of that night, <counter>_gain the difference: below 0 where it fell.
SELECT
    crawl_date,
    * EXCLUDE (crawl_date)
FROM changes
WHERE least(
    total_views_cnt_gain,
    total_digg_cnt_gain,
    total_comments_cnt_gain,
    total_shares_cnt_gain,
    total_video_sale_cnt_gain,
    total_video_sale_gmv_amt_gain
) < 0
