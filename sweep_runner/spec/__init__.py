"""A sweep file → a frozen, validated SweepSpec. Only the loader reads files."""
