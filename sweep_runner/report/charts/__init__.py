"""The report's figures as SVG: readable without scripts, printed as lines, and told apart by trial for the scripts."""
