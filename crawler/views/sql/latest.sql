-- A video of a seller's newest whole reading, or of the newest night that read some of its stretches.
--
-- That is what each seller has, as far as is known; what a night of freshest did not read is as it was last seen.
--
-- A seller that was never read whole has no rows: a list that was cut off is none.
SELECT v.*
FROM videos v
JOIN (
    SELECT seller_id, max_by(crawl_date, ended) AS crawl_date
    FROM coverage
    SEMI JOIN (SELECT DISTINCT crawl_date FROM videos) USING (crawl_date)
    WHERE is_complete AND is_received
    GROUP BY seller_id
) newest USING (seller_id, crawl_date)
