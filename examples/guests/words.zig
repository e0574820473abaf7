// A guest in Zig (0.11 to 0.14): counts the lines, words and bytes of its standard input.
const std = @import("std");

var input: [1 << 20]u8 = undefined;

pub fn main() !void {
    const text = input[0..try std.io.getStdIn().readAll(&input)];
    var words: usize = 0;
    var parts = std.mem.tokenizeAny(u8, text, " \t\r\n");
    while (parts.next()) |_| words += 1;
    const lines = std.mem.count(u8, text, "\n");
    try std.io.getStdOut().writer().print("{d} lines, {d} words, {d} bytes\n", .{ lines, words, text.len });
}
