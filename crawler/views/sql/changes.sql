-- A video that moved in a night, as published: what it is compared with, and what it gained.
SELECT *
FROM read_parquet({changes}, union_by_name = true, hive_partitioning = true, hive_types = {'crawl_date': DATE})
