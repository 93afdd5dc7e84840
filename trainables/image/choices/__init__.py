"""What a setting can be chosen from: tables of names, each with the function behind it. Light to import: no torch."""
