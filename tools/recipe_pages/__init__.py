"""Write the pages of docs/recipes from the recipes themselves."""
