"""What a trial computes on: its device, the number format there, and how much memory it takes."""
