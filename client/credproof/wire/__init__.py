"""The only translators between protobuf messages and values, one module per noun."""
