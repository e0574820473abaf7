// A guest in C++: counts the lines, words and bytes of its standard input, with the standard library, without exceptions.
#include <algorithm>
#include <iostream>
#include <iterator>
#include <map>
#include <sstream>
#include <string>
#include <vector>

int main(int argc, char **argv) {
    std::string text((std::istreambuf_iterator<char>(std::cin)), std::istreambuf_iterator<char>());
    std::map<std::string, int> counts;
    std::istringstream stream(text);
    int words = 0;
    for (std::string word; stream >> word; words++)
        counts[word]++;
    std::vector<std::pair<std::string, int>> ranking(counts.begin(), counts.end());
    std::stable_sort(ranking.begin(), ranking.end(), [](const auto &a, const auto &b) { return a.second > b.second; });
    std::cout << std::count(text.begin(), text.end(), '\n') << " lines, " << words << " words, " << text.size() << " bytes\n";
    for (size_t i = 0; i < ranking.size() && i < 3; i++)
        std::cout << ranking[i].second << ' ' << ranking[i].first << '\n';
    for (int i = 1; i < argc; i++)
        std::cout << "argument " << i << ": " << argv[i] << '\n';
    return std::cout.flush() ? 0 : 1;
}
