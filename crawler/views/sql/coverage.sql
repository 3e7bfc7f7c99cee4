-- A seller on a night: how whole its rows are, and since when it can be compared.
--
-- is_carried:    its rows, or those of some of its pages, are of earlier nights.
-- is_received:   its rows, or those of a stretch of its pages, were received for this night.
-- is_whole:      all its videos were received, without a gap: what is missing then was not there.
-- is_complete:   its rows are all its videos: it is whole, or was once, and the rest is as it was last seen.
-- began, ended:  when the first and the last page of this reading were received.
-- since_date, since: its last whole reading that had ended before this one began.
-- days:          from that reading to this one, a day being 24 hours.
-- has_changes:   changes/ has what moved in this reading: where it is false, gains are not known.
-- is_comparable: both are whole: a video that only one of them has is new or gone, and sums can be compared.
-- follows_on:    nothing of the seller was received between the two.
WITH readings AS (
    SELECT
        seller_id,
        crawl_date,
        coalesce(kept_status, status) AS status,
        stop_reason,
        coalesce(carried, 0) > 0 OR stretches IS NOT NULL AS is_carried,
        (stretches IS NOT NULL OR NOT is_carried) AND first_crawled_at IS NOT NULL AND last_crawled_at IS NOT NULL
            AS is_received,
        first_crawled_at AS began,
        last_crawled_at AS ended,
        changed IS NOT NULL AS has_changes,
        coalesce(kept_status, sellers.status) = 'complete' AS has_all,
        coalesce(NOT is_carried AND is_received AND has_all AND drift = 0, false) AS is_whole,
        is_whole OR (is_carried AND has_all) AS is_complete
    FROM sellers
),
received AS (
    SELECT seller_id, crawl_date, began, ended, is_whole FROM readings WHERE is_received
)
SELECT
    r.seller_id,
    r.crawl_date,
    r.status,
    r.stop_reason,
    r.is_carried,
    r.is_received,
    r.is_whole,
    r.is_complete,
    r.began,
    r.ended,
    w.crawl_date AS since_date,
    w.began AS since,
    (epoch_ms(r.began) - epoch_ms(w.began)) / 86400000.0 AS days,
    r.has_changes,
    r.is_whole AND w.began IS NOT NULL AS is_comparable,
    is_comparable AND w.crawl_date = p.crawl_date AS follows_on
FROM readings r
ASOF LEFT JOIN (FROM received WHERE is_whole) w ON r.seller_id = w.seller_id AND r.began > w.ended
ASOF LEFT JOIN received p ON r.seller_id = p.seller_id AND r.began > p.began
