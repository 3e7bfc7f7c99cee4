-- A video on a night, as published in a folder a region.
SELECT * EXCLUDE (region), nullif(region, '__HIVE_DEFAULT_PARTITION__') AS region, NULL::BOOLEAN AS late
FROM read_parquet(
    {videos}, union_by_name = true, hive_partitioning = true, hive_types = {'crawl_date': DATE, 'region': VARCHAR}
)
