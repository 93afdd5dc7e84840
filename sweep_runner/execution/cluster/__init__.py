"""A Ray cluster that was there before: reached, looked over before the first trial, and followed while trials run."""
