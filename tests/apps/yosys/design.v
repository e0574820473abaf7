// tests/apps/yosys/design.v: a small design: counters, a multiplier, a memory, a state machine.
module counter #(parameter WIDTH = 16) (input clk, input rst, input [7:0] step, output reg [WIDTH-1:0] value, output is_zero);
  assign is_zero = value == 0;
  always @(posedge clk)
    if (rst) value <= 0;
    else value <= value + step;
endmodule

module fifo(input clk, input rst, input push, input pop, input [7:0] in, output [7:0] out, output full, output empty);
  reg [7:0] store[0:15];
  reg [4:0] head, tail;
  assign empty = head == tail;
  assign full = head[3:0] == tail[3:0] && head[4] != tail[4];
  assign out = store[tail[3:0]];
  always @(posedge clk) begin
    if (push && !full) store[head[3:0]] <= in;
    if (rst) begin
      head <= 0;
      tail <= 0;
    end else begin
      if (push && !full) head <= head + 1;
      if (pop && !empty) tail <= tail + 1;
    end
  end
endmodule

module top(input clk, input rst, input [7:0] in, input push, output reg [15:0] sum, output busy, output zero);
  localparam IDLE = 0, TAKE = 1, MULTIPLY = 2;
  reg [1:0] state;
  wire [7:0] head;
  wire full, empty;
  wire [15:0] count;
  assign busy = state != IDLE || full;
  fifo queue(.clk(clk), .rst(rst), .push(push), .pop(state == TAKE), .in(in), .out(head), .full(full), .empty(empty));
  counter #(.WIDTH(16)) steps(.clk(clk), .rst(rst), .step(head), .value(count), .is_zero(zero));
  always @(posedge clk)
    if (rst) begin
      state <= IDLE;
      sum <= 0;
    end else
      case (state)
        IDLE: if (!empty) state <= TAKE;
        TAKE: state <= MULTIPLY;
        default: begin
          sum <= sum + head * count[7:0];
          state <= IDLE;
        end
      endcase
endmodule
