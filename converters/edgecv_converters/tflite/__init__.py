"""The TFLite target: lowering to a plan, and writing the flatbuffer."""
