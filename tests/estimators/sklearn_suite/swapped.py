"""A pytest plugin that puts fastnn's estimators in scikit-learn's place before tests import them."""

from sklearn import neural_network

import fastnn.sklearn

neural_network.MLPClassifier = fastnn.sklearn.MLPClassifier
neural_network.MLPRegressor = fastnn.sklearn.MLPRegressor
