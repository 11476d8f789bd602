INSERT INTO books VALUES
  ('978-0-13-110362-7', 'The C Programming Language', 3),
  ('978-0-201-03801-3', 'The Art of Computer Programming, Vol. 1', 1)
ON CONFLICT DO NOTHING;
