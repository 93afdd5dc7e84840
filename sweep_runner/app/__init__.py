"""The explorer: a Streamlit page over all sweeps of a results folder."""
