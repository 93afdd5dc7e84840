-- The classes that final evaluations do worst on, by F1.
SELECT sweep, trial, split, class, f1, precision, recall, support
FROM classes ORDER BY f1, sweep, trial LIMIT 20
