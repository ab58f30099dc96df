"""CSV files for ``fastnn.load_csv``: read with pandas, and errors that name the cell."""
