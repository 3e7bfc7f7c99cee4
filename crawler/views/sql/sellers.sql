-- A seller on a night, as published: how complete its rows are, and what they add up to.
SELECT *
FROM read_parquet({sellers}, union_by_name = true, hive_partitioning = true, hive_types = {'crawl_date': DATE})
UNION ALL BY NAME SELECT NULL::VARCHAR AS stretches WHERE false
