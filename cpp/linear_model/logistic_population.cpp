#include "linear_model/logistic_population.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <map>
#include <memory>
#include <numeric>
#include <string>
#include <tuple>
#include <utility>

#include "core/errors.h"
#include "linear_model/logistic_descent.h"

namespace manyfit {
namespace {

constexpr int64_t kSampleFrom = 20000;  // rows from which a sample of them goes first
constexpr int64_t kShareFrom =
    20;  // iterations a job must be allowed to start elsewhere than asked
constexpr int64_t kPolishWork =
    20000000;  // numbers looked at in a pass, up to which answers are exact

// Sums over the rows of each atom.
struct LogisticSums {
  Eigen::VectorXd loss;      // (atoms,)
  Eigen::MatrixXd gradient;  // (p K, atoms)
};

// A job under way.
struct Task {
  Eigen::VectorXd times;        // (atoms,) how often it takes their rows
  std::vector<uint8_t> wanted;  // (atoms,) where that is not zero
  int64_t class_weight = 0;
  double weight = 0;  // of the rows it takes
  std::unique_ptr<LogisticDescent> descent;
  LogisticSums sums;  // at the last candidate

  void take(Eigen::VectorXd atoms) {
    times = std::move(atoms);
    for (int64_t a = 0; a < times.size(); ++a) wanted.push_back(times(a) != 0);
  }
  LogisticPoint point(const Eigen::MatrixXd& coef) const {
    return {coef.data(), class_weight, wanted.data()};
  }
  void receive(const LogisticSums& at) {
    descent->receive(at.loss.dot(times) / weight, at.gradient * (times / weight));
  }
};

class Population {
 public:
  Population(LogisticPasses& rows, const Folds& folds, const std::vector<LogisticJob>& jobs,
             const Context& context)
      : rows_(rows),
        jobs_(jobs),
        context_(context),
        folds_(folds),
        shift_(Eigen::Map<const Eigen::VectorXd>(rows.shift(), rows.parameters() - 1)) {
    const int64_t size = rows.parameters() * rows.outputs();
    newton_.resize(jobs.size());
    for (size_t b = 0; b < jobs.size(); ++b) {
      newton_[b] = size <= kLogisticNewtonSize || jobs[b].l1_ratio > 0;
      if (jobs[b].l1_ratio > 0 && size > kLogisticProximalSize)
        throw InvalidInput("l1_ratio must be 0 for so many parameters, got " +
                           std::to_string(jobs[b].l1_ratio));
    }
    const double work = static_cast<double>(folds_.n_rows) * static_cast<double>(size) *
                        static_cast<double>(jobs.size());
    polish_ = work <= static_cast<double>(kPolishWork);
  }

  LogisticPopulation fit() {
    gather_families();
    start_on_sample();
    start_on_all_splits();
    tasks_.resize(jobs_.size());
    std::vector<Task*> running;
    for (size_t b = 0; b < jobs_.size(); ++b) {
      begin(b);
      running.push_back(&tasks_[b]);
    }
    advance(running);
    return result();
  }

 private:
  // Jobs alike but for their split.
  struct Family {
    size_t first;
    int64_t members = 0;
    double penalty;
    Eigen::MatrixXd coef;  // a start, empty: none
    LogisticDescent::Hessian hessian;
    std::unique_ptr<Task> total;
  };

  Eigen::VectorXd times_of(int64_t split) const {
    Eigen::VectorXd times(folds_.n_atoms());
    for (int64_t a = 0; a < folds_.n_atoms(); ++a)
      times(a) = folds_.train[split * folds_.n_atoms() + a];
    return times;
  }

  Eigen::VectorXd total_weight(int64_t class_weight) const {
    Eigen::VectorXd total(folds_.n_atoms());
    rows_.total_weight(class_weight, total.data(), context_);
    return total;
  }

  const Eigen::VectorXd& weights(int64_t class_weight) {
    const auto found = weights_.find(class_weight);
    if (found != weights_.end()) return found->second;
    return weights_[class_weight] = total_weight(class_weight);
  }

  bool shares(size_t b) const {
    return newton_[b] && jobs_[b].start == nullptr && jobs_[b].max_iter >= kShareFrom;
  }

  void gather_families() {
    std::map<std::tuple<double, double>, size_t> places;
    family_.assign(jobs_.size(), SIZE_MAX);
    for (size_t b = 0; b < jobs_.size(); ++b) {
      if (!shares(b)) continue;
      const auto [place, added] =
          places.try_emplace({jobs_[b].C, jobs_[b].l1_ratio}, families_.size());
      if (added) {
        families_.emplace_back();
        families_.back().first = b;
      }
      family_[b] = place->second;
      ++families_[place->second].members;
    }
    used_ = Eigen::VectorXd::Zero(folds_.n_atoms());
    for (size_t b = 0; b < jobs_.size(); ++b)
      if (shares(b)) used_ = used_.cwiseMax(times_of(jobs_[b].split).cwiseMin(1));
    order_.resize(families_.size());
    std::iota(order_.begin(), order_.end(), size_t{0});
    std::stable_sort(order_.begin(), order_.end(), [&](size_t i, size_t j) {
      const LogisticJob &x = jobs_[families_[i].first], &y = jobs_[families_[j].first];
      return std::pair(x.l1_ratio, x.C) < std::pair(y.l1_ratio, y.C);
    });
  }

  DescentRules rules(size_t b, double weight) const {
    const LogisticJob& job = jobs_[b];
    DescentRules rules;
    const double strength = std::isinf(job.C) ? 0 : 1 / (job.C * weight);
    rules.l1 = job.l1_ratio * strength;
    rules.l2 = (1 - job.l1_ratio) * strength;
    rules.tol = job.tol;
    rules.max_iter = job.max_iter;
    rules.newton = newton_[b];
    rules.fresh = job.max_iter < kShareFrom;
    const bool polish = polish_ && newton_[b];
    rules.target = polish ? 1e-22 : std::max(job.tol * job.tol, 1e-18);
    if (polish) rules.short_step = 1e-10;
    return rules;
  }

  Eigen::MatrixXd zero() const {
    return Eigen::MatrixXd::Zero(rows_.parameters(), rows_.outputs());
  }

  // The rows of all splits together, as one job of family f.
  std::unique_ptr<Task> total_task(const Family& family, const Eigen::VectorXd& read, double target,
                                   Eigen::MatrixXd start) {
    auto task = std::make_unique<Task>();
    const LogisticJob& job = jobs_[family.first];
    task->take(used_);
    task->class_weight = job.class_weight;
    task->weight = used_.dot(read);
    DescentRules of = rules(family.first, used_.dot(weights(job.class_weight)));
    of.target = target;
    of.tol = std::numeric_limits<double>::infinity();
    task->descent = std::make_unique<LogisticDescent>(of, shift_, std::move(start));
    return task;
  }

  // Every family in turn, from the solution of the one before, on a sample of the rows.
  void start_on_sample() {
    if (families_.empty() || folds_.n_rows < kSampleFrom) return;
    const int64_t size = rows_.parameters() * rows_.outputs();
    const int64_t step = std::min(folds_.n_rows / (40 * size), folds_.n_rows / 10000);
    if (step < 4) return;
    for (const Family& family : families_) weights(jobs_[family.first].class_weight);
    rows_.sample(std::min<int64_t>(step, 16));
    Eigen::MatrixXd start = zero();
    LogisticDescent::Hessian hessian;
    std::map<int64_t, Eigen::VectorXd> of_sample;
    for (const size_t f : order_) {
      Family& family = families_[f];
      const int64_t class_weight = jobs_[family.first].class_weight;
      if (!of_sample.contains(class_weight)) of_sample[class_weight] = total_weight(class_weight);
      const Eigen::VectorXd& read = of_sample[class_weight];
      if (!(used_.dot(read) > 0)) continue;
      const auto task = total_task(family, read, 1e-7, start);
      if (hessian) task->descent->set_hessian(hessian, false);
      advance({task.get()});
      if (!task->descent->finite()) break;
      if (!task->descent->hessian_is_current()) make_hessian(*task);
      hessian = task->descent->hessian();
      start = task->descent->coef();
      family.coef = start;
      family.hessian = hessian;
    }
    rows_.sample(1);
  }

  // Where families have several splits: first all rows together, all families at once.
  void start_on_all_splits() {
    std::vector<Task*> running;
    const double noise = static_cast<double>(rows_.parameters() * rows_.outputs()) /
                         static_cast<double>(folds_.n_rows);
    for (Family& family : families_) {
      if (family.members < 2) continue;
      const Eigen::VectorXd& all = weights(jobs_[family.first].class_weight);
      if (!(used_.dot(all) > 0)) continue;
      family.total = total_task(family, all, std::clamp(1e-3 * noise, 1e-10, 1e-4),
                                family.coef.size() > 0 ? family.coef : zero());
      if (family.hessian) family.total->descent->set_hessian(family.hessian, false);
      running.push_back(family.total.get());
    }
    advance(running);
    for (Family& family : families_) {
      if (!family.total || !family.total->descent->finite()) continue;
      family.coef = family.total->descent->coef();
      family.hessian = family.total->descent->hessian();
    }
  }

  void begin(size_t b) {
    const LogisticJob& job = jobs_[b];
    Task& task = tasks_[b];
    task.take(times_of(job.split));
    task.class_weight = job.class_weight;
    task.weight = task.times.dot(weights(job.class_weight));
    if (!(task.weight > 0)) throw InvalidInput("a split must train on rows of positive weight");
    Family* family = family_[b] == SIZE_MAX ? nullptr : &families_[family_[b]];
    const bool shared = family != nullptr && family->coef.size() > 0;
    Eigen::MatrixXd start = shared ? family->coef : zero();
    if (job.start != nullptr) {
      start = Eigen::Map<const Eigen::MatrixXd>(job.start, start.rows(), start.cols());
      start.row(start.rows() - 1) += shift_.transpose() * start.topRows(start.rows() - 1);
    }
    task.descent =
        std::make_unique<LogisticDescent>(rules(b, task.weight), shift_, std::move(start));
    if (!newton_[b]) {
      const double bound = rows_.outputs() == 1 ? 0.25 : 0.5 * (1 - 1.0 / rows_.outputs());
      Eigen::VectorXd squares(rows_.parameters());
      rows_.squares(job.class_weight, task.times.data(), squares.data(), context_);
      squares *= bound / task.weight;
      task.descent->set_diagonal(squares.replicate(rows_.outputs(), 1));
    }
    if (shared && family->hessian) task.descent->set_hessian(family->hessian, false);
    // What the total has at this very point serves every split.
    if (shared && family->total && family->total->class_weight == task.class_weight &&
        family->total->sums.loss.size() > 0 && rests(*family->total))
      task.receive(family->total->sums);
  }

  static bool rests(const Task& task) {
    return task.descent->finite() && task.descent->candidate() == task.descent->coef();
  }

  void make_hessian(Task& task) {
    const int64_t size = rows_.parameters() * rows_.outputs();
    Eigen::MatrixXd hessian(size, size);
    rows_.hessian(task.point(task.descent->coef()), task.times.data(), hessian.data(), context_);
    hessian *= 1 / task.weight;
    task.descent->set_hessian(std::make_shared<const Eigen::MatrixXd>(std::move(hessian)), true);
  }

  // Steps of all tasks together until each is done.
  void advance(std::vector<Task*> running) {
    while (!running.empty()) {
      propose(running);
      std::erase_if(running, [](const Task* task) { return task->descent->done(); });
      std::vector<LogisticPoint> points;
      for (const Task* task : running) points.push_back(task->point(task->descent->candidate()));
      if (points.empty()) return;
      const auto count = static_cast<int64_t>(points.size());
      const int64_t atoms = folds_.n_atoms(), size = rows_.parameters() * rows_.outputs();
      Eigen::MatrixXd loss(atoms, count), gradient(size, atoms * count);
      rows_.evaluate(points.data(), count, loss.data(), gradient.data(), context_);
      for (int64_t i = 0; i < count; ++i) {
        running[i]->sums = {loss.col(i), gradient.middleCols(i * atoms, atoms)};
        running[i]->receive(running[i]->sums);
      }
    }
  }

  void propose(const std::vector<Task*>& running) {
    const auto all = [&](const std::function<void(Task&)>& work) {
      if (running.size() == 1 || rows_.parameters() * rows_.outputs() >= kLargeMatrix) {
        for (Task* task : running) work(*task);
      } else {
        context_.parallel_for("logistic regression", static_cast<int64_t>(running.size()),
                              [&](int64_t i) { work(*running[i]); });
      }
    };
    all([&](Task& task) { task.descent->propose(context_); });
    bool again = false;
    for (Task* task : running) {
      if (!task->descent->wants_hessian()) continue;
      make_hessian(*task);
      again = true;
    }
    if (again) propose(running);
  }

  LogisticPopulation result() const {
    LogisticPopulation out;
    const int64_t last = rows_.parameters() - 1;
    for (const Task& task : tasks_) {
      Eigen::MatrixXd coef = task.descent->coef();
      coef.row(last) -= shift_.transpose() * coef.topRows(last);
      out.coef.push_back(std::move(coef));
      out.iterations.push_back(task.descent->iterations());
      out.converged.push_back(task.descent->converged());
      out.finite.push_back(task.descent->finite());
    }
    return out;
  }

  LogisticPasses& rows_;
  const std::vector<LogisticJob>& jobs_;
  const Context& context_;
  const Folds& folds_;
  const Eigen::VectorXd shift_;
  bool polish_ = false;
  std::vector<uint8_t> newton_;
  std::vector<Family> families_;
  std::vector<size_t> family_, order_;
  Eigen::VectorXd used_;  // atoms some sharing job takes
  std::map<int64_t, Eigen::VectorXd> weights_;
  std::vector<Task> tasks_;
};

}  // namespace

LogisticPopulation logistic_population(LogisticPasses& passes, const Folds& folds,
                                       const std::vector<LogisticJob>& jobs,
                                       const Context& context) {
  return Population(passes, folds, jobs, context).fit();
}

}  // namespace manyfit
