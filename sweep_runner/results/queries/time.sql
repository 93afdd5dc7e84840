-- How many seconds the trials of each sweep took, by how they ended.
SELECT sweep, state, count(*) AS trials, sum(epochs) AS epochs, round(sum(duration_s), 1) AS seconds
FROM trials GROUP BY sweep, state ORDER BY sweep, state
