\echo Use "ALTER EXTENSION veza_backup UPDATE TO '0.2'" to load this file. \quit
