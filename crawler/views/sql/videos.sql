-- A video on a night, as published: the rows of videos/, and those of archive/ of nights that videos/ lacks.
SELECT snapshot_date AS crawl_date, * EXCLUDE (snapshot_date, filename)
FROM read_parquet({videos_and_archive}, union_by_name = true, hive_partitioning = false, filename = true)
WHERE NOT (
    regexp_matches(filename, '/archive/[^/]*/[^/]*$')
    AND snapshot_date IN (
        SELECT TRY_CAST(regexp_extract(file, '/crawl_date=([^/]*)/[^/]*$', 1) AS DATE) FROM glob({nights_of_videos})
    )
)
