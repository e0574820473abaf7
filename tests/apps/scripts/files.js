// tests/apps/scripts/files.js: a script that loads others, for tests/apps/mujs_test.sh.
load("/scripts/check.js");
var me = read("/scripts/files.js");
print(me.length, me.split("\n")[0].substring(0, 30));
print(scriptArgs.join("|"));
