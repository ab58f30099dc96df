"""Reading CSV files for ``fastnn.load_csv``: pandas reads; what it cannot read is explained here."""
