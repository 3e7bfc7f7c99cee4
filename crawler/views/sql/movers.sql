-- A video that gained views, sales or GMV in the newest night, and was seen before: which gained most.
--
-- Gains are per day: after a night that is missing, or in which its seller was not read, they are of several days.
-- *_rank: 1 for the most; videos whose gain a day is not known come last.
SELECT
    rank() OVER (ORDER BY views_per_day DESC NULLS LAST, total_views_cnt_gain DESC) AS views_rank,
    rank() OVER (ORDER BY sales_per_day DESC NULLS LAST, total_video_sale_cnt_gain DESC) AS sales_rank,
    rank() OVER (ORDER BY gmv_per_day DESC NULLS LAST, total_video_sale_gmv_amt_gain DESC) AS gmv_rank,
    *
FROM gains_1d
WHERE kind IN ('changed', 'corrected', 'returned')
    AND greatest(total_views_cnt_gain, total_video_sale_cnt_gain, total_video_sale_gmv_amt_gain) > 0
