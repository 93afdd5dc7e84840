"""What happens in a worker's process: a trial is trained there, by one worker or by several."""
