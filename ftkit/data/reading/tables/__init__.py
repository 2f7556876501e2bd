"""Files with tables in them: spreadsheets and databases."""
