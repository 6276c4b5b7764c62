-- The role and database of the service: an ordinary role that owns its database.
create role sponsor_vouchers login password 'sponsor_vouchers' nosuperuser nobypassrls;
create database sponsor_vouchers owner sponsor_vouchers;
