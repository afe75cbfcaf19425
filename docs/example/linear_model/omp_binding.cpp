void bind_omp(py::module_& m) {
  m.def(
      "omp",
      [](const FoldGram& gram, const std::vector<int64_t>& splits,
         const std::vector<bool>& fit_intercept, const std::vector<int64_t>& counts,
         const Execution& execution) {
        const auto jobs = jobs_of(splits, fit_intercept, gram.folds.n_splits());
        if (counts.size() != jobs.size())
          throw InvalidInput("counts must have one entry for each job");
        return arrays_of(
            run(execution,
                [&](const Context& context) { return omp_cpu(gram, jobs, counts, context); }),
            gram.n_features, gram.n_targets);
      },
      py::arg("prepared"), py::arg("splits"), py::arg("fit_intercept"), py::arg("counts"),
      py::arg("execution"));
}
