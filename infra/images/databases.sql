-- Airflow's own database is made by the image; these are the other two.
CREATE DATABASE catalog;
CREATE DATABASE mlflow;
