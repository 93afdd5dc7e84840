-- Examples that every evaluated model got wrong.
SELECT sweep, split, example, any_value(labels) AS labels, count(*) AS models
FROM predictions GROUP BY sweep, split, example HAVING bool_and(labels <> predicted) ORDER BY models DESC, example
