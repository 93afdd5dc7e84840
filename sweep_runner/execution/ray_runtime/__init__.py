"""Ray itself: started quietly, protected by a token, and ended without leftovers."""
