"""Bulk export: jobs in an object store that finish, resume, and can be checked afterwards."""
