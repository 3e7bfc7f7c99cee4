-- A night that was wanted, as published: how it ended, also where nothing was published or nothing ran.
SELECT * FROM read_parquet({nights})
