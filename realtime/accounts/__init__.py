"""The users of this project: their model, registration, login and account page. Yours to change."""
