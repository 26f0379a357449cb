// route.cpp FILE - shortest routes (Dijkstra) in a graph of "A B minutes" lines; questions "A B" on standard input.
#include <fstream>
#include <iostream>
#include <limits>
#include <map>
#include <queue>
#include <string>
#include <vector>

using Graph = std::map<std::string, std::vector<std::pair<std::string, int>>>;

static void answer(const Graph &graph, const std::string &from, const std::string &to)
{
    std::map<std::string, int> distance;
    std::map<std::string, std::string> previous;
    using Item = std::pair<int, std::string>;
    std::priority_queue<Item, std::vector<Item>, std::greater<>> open;
    open.push({0, from});
    distance[from] = 0;
    while (!open.empty()) {
        auto [minutes, place] = open.top();
        open.pop();
        if (minutes > distance[place])
            continue;
        if (place == to)
            break;
        for (const auto &[next, more] : graph.at(place)) {
            auto known = distance.find(next);
            if (known != distance.end() && known->second <= minutes + more)
                continue;
            distance[next] = minutes + more;
            previous[next] = place;
            open.push({minutes + more, next});
        }
    }
    if (!distance.count(to)) {
        std::cout << from << " to " << to << ": no way\n";
        return;
    }
    std::string path = to;
    for (std::string at = to; at != from;) {
        at = previous[at];
        path = at + " - " + path;
    }
    std::cout << distance[to] << " min  " << path << '\n';
}

int main(int argc, char **argv)
{
    Graph graph;
    std::ifstream file(argc > 1 ? argv[1] : "");
    std::string from, to;
    int minutes;
    while (file >> from >> to >> minutes) {
        graph[from].push_back({to, minutes});
        graph[to].push_back({from, minutes});
    }
    while (std::cin >> from >> to) {
        if (!graph.count(from) || !graph.count(to)) {
            std::cerr << "not on the map: " << (graph.count(from) ? to : from) << '\n';
            return 1;
        }
        answer(graph, from, to);
    }
}
