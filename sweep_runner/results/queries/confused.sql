-- The pairs of classes that are most often taken for each other.
SELECT sweep, trial, split, actual, predicted, count
FROM confusions WHERE label IS NULL AND actual <> predicted ORDER BY count DESC, sweep, trial LIMIT 20
