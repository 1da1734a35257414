"""Speed beside peers: ``make bench`` runs everything interleaved, prints a table and writes it as JSON."""
